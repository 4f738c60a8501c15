# The values of the prod environment. Set your own repository and contact; docs/deploy.md describes the steps.
terraform {
  required_version = ">= 1.11"
  backend "s3" {
    key          = "streamflow/prod.tfstate" # bucket and region: `terraform init -backend-config=...`
    encrypt      = true
    use_lockfile = true
  }
}

module "stack" {
  source             = "../../stack"
  environment        = "prod"
  region             = "eu-central-1"
  cidr               = "10.30.0.0/16"
  is_replicated      = true
  is_disposable      = false
  flink_nodes        = { instance_type = "c6id.xlarge", min = 3, max = 10 }
  general_nodes      = { instance_type = "m6i.large", min = 3, max = 6 }
  kafka_nodes        = { instance_type = "m6i.xlarge", per_zone = 1 }
  postgres           = { instance_class = "db.m6i.xlarge", storage_gib = 500, backup_days = 35 }
  repository         = "streamflow/streamflow"
  monthly_budget_usd = 7000
  contact            = "data-platform@example.org"
}

output "platform_env" {
  description = "The content of k8s/overlays/prod/platform.env."
  value       = module.stack.platform_env
}

output "github_variables" {
  description = "Variables of the GitHub environment prod."
  value       = module.stack.github_variables
}
