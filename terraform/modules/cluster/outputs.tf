output "name" {
  description = "Name of the cluster, for `aws eks update-kubeconfig`."
  value       = aws_eks_cluster.this.name
}

output "security_group_id" {
  description = "Security group of the nodes and pods, which may connect to the database."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "node_role_arn" {
  description = "ARN of the nodes' role."
  value       = aws_iam_role.node.arn
}

output "role_arns" {
  description = "ARNs of the pods' roles, by account: flink, tools, secrets."
  value       = { for name, role in aws_iam_role.pod : name => role.arn }
}
