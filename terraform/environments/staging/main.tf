# The values of the staging environment. Set your own repository and contact; docs/deploy.md describes the steps.
terraform {
  required_version = ">= 1.11"
  backend "s3" {
    key          = "streamflow/staging.tfstate" # bucket and region: `terraform init -backend-config=...`
    encrypt      = true
    use_lockfile = true
  }
}

module "stack" {
  source             = "../../stack"
  environment        = "staging"
  region             = "eu-central-1"
  cidr               = "10.20.0.0/16"
  is_replicated      = true
  is_disposable      = true
  flink_nodes        = { instance_type = "c6id.xlarge", min = 2, max = 4 }
  general_nodes      = { instance_type = "m6i.large", min = 3, max = 4 }
  kafka_nodes        = { instance_type = "m6i.large", per_zone = 1 }
  postgres           = { instance_class = "db.m6i.large", storage_gib = 100, backup_days = 7 }
  repository         = "streamflow/streamflow"
  monthly_budget_usd = 3000
  contact            = "data-platform@example.org"
}

output "platform_env" {
  description = "The content of k8s/overlays/staging/platform.env."
  value       = module.stack.platform_env
}

output "github_variables" {
  description = "Variables of the GitHub environment staging."
  value       = module.stack.github_variables
}
