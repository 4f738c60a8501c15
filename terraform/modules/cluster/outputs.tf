output "name" {
  description = "Name of the cluster, for `aws eks update-kubeconfig`."
  value       = aws_eks_cluster.this.name
}

output "security_group_id" {
  description = "Group of the nodes and pods: who may reach the database."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "node_role_arn" {
  description = "Role of the nodes."
  value       = aws_iam_role.node.arn
}

output "role_arns" {
  description = "Roles of pods, by account: flink, tools, secrets."
  value       = { for name, role in aws_iam_role.pod : name => role.arn }
}
