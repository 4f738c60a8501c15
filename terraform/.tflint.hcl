# Every rule that comes with tflint; those of its AWS plugin are on a host that is not reached from everywhere.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# An environment is one file, so that two of them can be compared at a glance.
rule "terraform_standard_module_structure" {
  enabled = false
}
