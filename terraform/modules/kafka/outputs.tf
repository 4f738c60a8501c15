output "nodes" {
  description = "Nodes for brokers over all zones."
  value       = length(var.subnet_ids) * var.nodes_per_zone
}
