output "nodes" {
  description = "Number of broker nodes over all zones."
  value       = length(var.subnet_ids) * var.nodes_per_zone
}
