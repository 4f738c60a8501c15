variable "name" {
  description = "Name of everything here, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must be 3 to 31 small letters, digits and hyphens, and begin with a letter."
  }
}

variable "cluster_name" {
  description = "Kubernetes cluster that the nodes join."
  type        = string
}

variable "node_role_arn" {
  description = "Role of the nodes."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets, one in each of three zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "Three zones: with two, the loss of one stops writes that want two replicas."
  }
}

variable "instance_type" {
  description = "Type of the nodes, such as m6i.xlarge."
  type        = string
}

variable "nodes_per_zone" {
  description = "Nodes in each zone."
  type        = number
  validation {
    condition     = var.nodes_per_zone >= 1
    error_message = "Each zone needs a node."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the brokers' volumes."
  type        = string
}
