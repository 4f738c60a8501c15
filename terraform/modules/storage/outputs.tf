output "bucket" {
  description = "Name of the bucket of checkpoints, savepoints and models."
  value       = aws_s3_bucket.state.bucket
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.state.arn
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts all stored data."
  value       = aws_kms_key.this.arn
}
