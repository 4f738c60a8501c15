# The dev environment. Set your own repository, contact and bucket of the state below; docs/deploy.md goes through it.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.20"
    }
  }
  backend "s3" {
    key          = "streamflow/dev.tfstate"
    encrypt      = true
    use_lockfile = true # bucket and region: terraform init -backend-config=...
  }
}

provider "aws" {
  region = "eu-central-1"
  default_tags {
    tags = {
      application = "streamflow"
      environment = "dev"
    }
  }
}

module "stack" {
  source        = "../../stack"
  environment   = "dev"
  region        = "eu-central-1"
  cidr          = "10.10.0.0/16"
  is_replicated = false
  is_disposable = true
  flink_nodes = {
    instance_type = "c6id.large"
    min           = 1
    max           = 3
  }
  general_nodes = {
    instance_type = "m6i.large"
    min           = 2
    max           = 3
  }
  kafka_nodes = {
    instance_type = "m6i.large"
    per_zone      = 1
  }
  postgres = {
    instance_class = "db.t4g.medium"
    storage_gib    = 20
    backup_days    = 1
  }
  repository         = "streamflow/streamflow"
  monthly_budget_usd = 1500
  contact            = "data-platform@example.org"
}

output "platform_env" {
  description = "The file k8s/overlays/dev/platform.env."
  value       = module.stack.platform_env
}

output "cluster_name" {
  description = "For `aws eks update-kubeconfig --name`."
  value       = module.stack.cluster_name
}

output "repositories" {
  description = "Where images go, by name."
  value       = module.stack.repositories
}

output "deploy_role_arn" {
  description = "The variable DEPLOY_ROLE_ARN of the environment on GitHub."
  value       = module.stack.deploy_role_arn
}
