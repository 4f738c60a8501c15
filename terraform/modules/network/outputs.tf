output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Subnets of the cluster, one in each zone."
  value       = aws_subnet.private[*].id
}

output "database_subnet_ids" {
  description = "Subnets of the database, one in each zone, without a way out."
  value       = aws_subnet.database[*].id
}

output "database_cidr" {
  description = "Addresses of all database subnets: what the cluster's network policy lets out to port 5432."
  value       = cidrsubnet(var.cidr, 4, 6)
}
