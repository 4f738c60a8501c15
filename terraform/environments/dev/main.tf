# The values of the dev environment. Set your own repository and contact; docs/deploy.md describes the steps.
terraform {
  required_version = ">= 1.11"
  backend "s3" {
    key          = "streamflow/dev.tfstate" # bucket and region: `terraform init -backend-config=...`
    encrypt      = true
    use_lockfile = true
  }
}

module "stack" {
  source             = "../../stack"
  environment        = "dev"
  region             = "eu-central-1"
  cidr               = "10.10.0.0/16"
  is_replicated      = false
  is_disposable      = true
  flink_nodes        = { instance_type = "c6id.large", min = 1, max = 3 }
  general_nodes      = { instance_type = "m6i.large", min = 2, max = 3 }
  kafka_nodes        = { instance_type = "m6i.large", per_zone = 1 }
  postgres           = { instance_class = "db.t4g.medium", storage_gib = 20, backup_days = 1 }
  repository         = "streamflow/streamflow"
  monthly_budget_usd = 1500
  contact            = "data-platform@example.org"
}

output "platform_env" {
  description = "The content of k8s/overlays/dev/platform.env."
  value       = module.stack.platform_env
}

output "github_variables" {
  description = "Variables of the GitHub environment dev."
  value       = module.stack.github_variables
}
