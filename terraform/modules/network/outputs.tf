output "vpc_id" {
  description = "ID of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "IDs of the cluster's subnets, one in each zone."
  value       = aws_subnet.private[*].id
}

output "database_subnet_ids" {
  description = "IDs of the database's subnets, one in each zone, without a route to the internet."
  value       = aws_subnet.database[*].id
}

output "database_cidr" {
  description = "CIDR block of all database subnets: the cluster's network policy allows it on port 5432."
  value       = cidrsubnet(var.cidr, 4, 6)
}
