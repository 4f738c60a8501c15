variable "name" {
  description = "Name prefix of all resources, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must have 3 to 31 lower-case letters, digits or hyphens and start with a letter."
  }
}

variable "cluster_name" {
  description = "Name of the Kubernetes cluster that the nodes join."
  type        = string
}

variable "node_role_arn" {
  description = "ARN of the nodes' role."
  type        = string
}

variable "subnet_ids" {
  description = "IDs of the subnets, one in each of three zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "Three subnets in three zones are needed: with two, the loss of a zone stops writes that need two replicas."
  }
}

variable "instance_type" {
  description = "Instance type of the nodes, such as m6i.xlarge."
  type        = string
}

variable "nodes_per_zone" {
  description = "Number of nodes in each zone."
  type        = number
  validation {
    condition     = var.nodes_per_zone >= 1
    error_message = "Each zone needs at least one node."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the brokers' volumes."
  type        = string
}
