output "repositories" {
  description = "Where images go, by name: job, tools, airflow."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "deploy_role_arn" {
  description = "Role of the deploy workflow: the variable DEPLOY_ROLE_ARN of the environment on GitHub."
  value       = aws_iam_role.deploy.arn
}
