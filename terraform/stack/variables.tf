variable "environment" {
  description = "dev, staging or prod; also the name of the overlay in k8s/overlays."
  type        = string
  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "The environment must be dev, staging or prod."
  }
}

variable "region" {
  description = "AWS region, such as eu-central-1."
  type        = string
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must look like eu-central-1."
  }
}

variable "cidr" {
  description = "CIDR block of the network: a /16 that no other environment uses."
  type        = string
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
  default     = "1.34"
}

variable "is_replicated" {
  description = "Whether the environment survives the loss of a zone: standby database, one NAT gateway in each zone."
  type        = bool
}

variable "is_disposable" {
  description = "Whether `terraform destroy` may delete data."
  type        = bool
  validation {
    condition     = !(var.is_disposable && var.environment == "prod")
    error_message = "Production must not be disposable: set is_disposable to false."
  }
}

variable "flink_nodes" {
  description = "Nodes for the TaskManagers: an x86-64 instance type with local SSDs, and the number of nodes."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
}

variable "general_nodes" {
  description = "Nodes for everything else."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
}

variable "kafka_nodes" {
  description = "Nodes for the Kafka brokers: instance type, and the number in each of three zones."
  type = object({
    instance_type = string
    per_zone      = number
  })
}

variable "postgres" {
  description = "Size of the database, and the days of backups for point-in-time recovery."
  type = object({
    instance_class = string
    storage_gib    = number
    backup_days    = number
  })
}

variable "repository" {
  description = "GitHub repository that deploys, as owner/name."
  type        = string
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars; AWS mails the contact when the forecast exceeds it."
  type        = number
}

variable "contact" {
  description = "Mail address of the team that receives alarms."
  type        = string
}
