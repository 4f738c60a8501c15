# The prod environment. Set your own repository, contact and bucket of the state below; docs/deploy.md goes through it.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.20"
    }
  }
  backend "s3" {
    key          = "streamflow/prod.tfstate"
    encrypt      = true
    use_lockfile = true # bucket and region: terraform init -backend-config=...
  }
}

provider "aws" {
  region = "eu-central-1"
  default_tags {
    tags = {
      application = "streamflow"
      environment = "prod"
    }
  }
}

module "stack" {
  source        = "../../stack"
  environment   = "prod"
  region        = "eu-central-1"
  cidr          = "10.30.0.0/16"
  is_replicated = true
  is_disposable = false
  flink_nodes = {
    instance_type = "c6id.xlarge"
    min           = 3
    max           = 10
  }
  general_nodes = {
    instance_type = "m6i.large"
    min           = 3
    max           = 6
  }
  kafka_nodes = {
    instance_type = "m6i.xlarge"
    per_zone      = 1
  }
  postgres = {
    instance_class = "db.m6i.xlarge"
    storage_gib    = 500
    backup_days    = 35
  }
  repository         = "streamflow/streamflow"
  monthly_budget_usd = 7000
  contact            = "data-platform@example.org"
}

output "platform_env" {
  description = "The file k8s/overlays/prod/platform.env."
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
