variable "name" {
  description = "Name of everything here, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must be 3 to 31 small letters, digits and hyphens, and begin with a letter."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, such as 1.34."
  type        = string
  validation {
    condition     = can(regex("^1\\.(3[2-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "Kubernetes must be 1.32 or newer: older ones are out of support."
  }
}

variable "subnet_ids" {
  description = "Private subnets, one in each of three zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) == 3
    error_message = "There must be three subnets, one in each zone."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts Kubernetes' secrets and the nodes' disks."
  type        = string
}

variable "bucket_arn" {
  description = "Bucket of checkpoints, savepoints and models."
  type        = string
}

variable "secret_arns" {
  description = "Secrets that the cluster may read."
  type        = list(string)
  validation {
    condition     = length(var.secret_arns) > 0 && !contains(var.secret_arns, "*")
    error_message = "Name the secrets one by one."
  }
}

variable "flink_nodes" {
  description = "Nodes of the TaskManagers: an x86-64 type with local NVMe disks, and how many."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
  validation {
    condition     = can(regex("^[a-z]+[0-9]+i?d[a-z]*\\.", var.flink_nodes.instance_type)) && !can(regex("^[a-z]+[0-9]+g", var.flink_nodes.instance_type))
    error_message = "The type must have local SSDs (a `d` after its number, such as c6id.xlarge) and be x86-64."
  }
  validation {
    condition     = var.flink_nodes.min >= 1 && var.flink_nodes.max >= var.flink_nodes.min
    error_message = "There must be at least one node, and max not below min."
  }
}

variable "general_nodes" {
  description = "Nodes of everything else: operators, Airflow, monitoring."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
  validation {
    condition     = var.general_nodes.min >= 1 && var.general_nodes.max >= var.general_nodes.min
    error_message = "There must be at least one node, and max not below min."
  }
}
