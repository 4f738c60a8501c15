output "host" {
  description = "Host name of the database."
  value       = aws_db_instance.this.address
}

output "owner_secret_arn" {
  description = "ARN of the secret with the owner's password, which the database service rotates."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "ca_secret_name" {
  description = "Name of the secret with the CA certificate of the database."
  value       = aws_secretsmanager_secret.ca.name
}

output "ca_secret_arn" {
  description = "ARN of the same secret."
  value       = aws_secretsmanager_secret.ca.arn
}
