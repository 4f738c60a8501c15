# All rules that come with tflint. The rules of its AWS plugin need a download from a host that not every network allows.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# An environment is one file, so that two environments are easy to compare.
rule "terraform_standard_module_structure" {
  enabled = false
}
