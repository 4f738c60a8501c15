output "platform_env" {
  description = "The file k8s/overlays/<environment>/platform.env."
  value       = <<-EOT
    # Written by: terraform -chdir=terraform/environments/${var.environment} output -raw platform_env
    AWS_REGION=${var.region}
    STATE_BUCKET=${module.storage.bucket}
    FLINK_ROLE_ARN=${module.cluster.role_arns["flink"]}
    TOOLS_ROLE_ARN=${module.cluster.role_arns["tools"]}
    SECRETS_ROLE_ARN=${module.cluster.role_arns["secrets"]}
    POSTGRES_HOST=${module.postgres.host}
    POSTGRES_SECRET=${module.postgres.owner_secret_arn}
    POSTGRES_CA_SECRET=${module.postgres.ca_secret_name}
    POSTGRES_CIDR=${module.network.database_cidr}
  EOT
}

output "cluster_name" {
  description = "For `aws eks update-kubeconfig --name`."
  value       = module.cluster.name
}

output "repositories" {
  description = "Where images go, by name."
  value       = module.observability.repositories
}

output "deploy_role_arn" {
  description = "The variable DEPLOY_ROLE_ARN of the environment on GitHub."
  value       = module.observability.deploy_role_arn
}
