variable "name" {
  description = "Name prefix of all resources, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must have 3 to 31 lower-case letters, digits or hyphens and start with a letter."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, such as 1.34."
  type        = string
  validation {
    condition     = can(regex("^1\\.(3[2-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "Kubernetes must be 1.32 or newer: older versions are out of support."
  }
}

variable "subnet_ids" {
  description = "IDs of the private subnets, one in each of three zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "There must be three subnets, one in each zone."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts Kubernetes Secrets and the nodes' disks."
  type        = string
}

variable "bucket_arn" {
  description = "ARN of the bucket of checkpoints, savepoints and models."
  type        = string
}

variable "secret_arns" {
  description = "ARNs of the secrets that the cluster may read."
  type        = list(string)
  validation {
    condition     = length(var.secret_arns) > 0 && !contains(var.secret_arns, "*")
    error_message = "Give the full ARN of each secret; wildcards are not allowed."
  }
}

variable "flink_nodes" {
  description = "Nodes for the TaskManagers: an x86-64 instance type with local NVMe disks, and the number of nodes."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
  validation {
    condition     = can(regex("^[a-z]+[0-9]+i?d[a-z]*\\.", var.flink_nodes.instance_type)) && !can(regex("^[a-z]+[0-9]+g", var.flink_nodes.instance_type))
    error_message = "The instance type must be x86-64 with local SSDs (a `d` after the number, such as c6id.xlarge)."
  }
  validation {
    condition     = var.flink_nodes.min >= 1 && var.flink_nodes.max >= var.flink_nodes.min
    error_message = "min must be at least 1, and max at least min."
  }
}

variable "general_nodes" {
  description = "Nodes for everything else: operators, Airflow, monitoring."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
  validation {
    condition     = var.general_nodes.min >= 1 && var.general_nodes.max >= var.general_nodes.min
    error_message = "min must be at least 1, and max at least min."
  }
}
