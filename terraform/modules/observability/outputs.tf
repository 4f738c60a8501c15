output "repositories" {
  description = "URLs of the image repositories, by image name: job, tools, airflow."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "deploy_role_arn" {
  description = "ARN of the deploy workflow's role: the variable DEPLOY_ROLE_ARN of the GitHub environment."
  value       = aws_iam_role.deploy.arn
}
