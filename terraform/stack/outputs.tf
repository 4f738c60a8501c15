output "platform_env" {
  description = "The content of k8s/overlays/<environment>/platform.env."
  value       = <<-EOT
    # Written by: terraform -chdir=terraform/environments/${var.environment} output -raw platform_env
    AWS_REGION=${var.region}
    STATE_BUCKET=${module.storage.bucket}
    FLINK_ROLE_ARN=${module.cluster.role_arns["flink"]}
    TOOLS_ROLE_ARN=${module.cluster.role_arns["tools"]}
    AIRFLOW_ROLE_ARN=${module.cluster.role_arns["airflow"]}
    SECRETS_ROLE_ARN=${module.cluster.role_arns["secrets"]}
    POSTGRES_HOST=${module.postgres.host}
    POSTGRES_SECRET=${module.postgres.owner_secret_arn}
    POSTGRES_CA_SECRET=${module.postgres.ca_secret_name}
    POSTGRES_CIDR=${module.network.database_cidr}
  EOT
}

output "repositories" {
  description = "Image repositories, by image name: job, tools, airflow."
  value       = module.observability.repositories
}

output "github_variables" {
  description = "Variables of the GitHub environment that the deploy workflow reads."
  value = {
    AWS_REGION      = var.region
    DEPLOY_ROLE_ARN = module.observability.deploy_role_arn
    REGISTRY        = trimsuffix(module.observability.repositories["job"], "/job")
  }
}
