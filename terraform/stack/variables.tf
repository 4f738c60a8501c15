variable "environment" {
  description = "dev, staging or prod; also the name of the overlay in k8s/overlays."
  type        = string
  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "The environment is dev, staging or prod."
  }
}

variable "region" {
  description = "AWS region, such as eu-central-1."
  type        = string
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region looks like eu-central-1."
  }
}

variable "cidr" {
  description = "Addresses of the network, a /16 that no other environment has."
  type        = string
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
  default     = "1.34"
}

variable "is_replicated" {
  description = "Whether the loss of a zone is survived: a standby database, a way out in each zone."
  type        = bool
}

variable "is_disposable" {
  description = "Whether `terraform destroy` may delete data."
  type        = bool
  validation {
    condition     = !(var.is_disposable && var.environment == "prod")
    error_message = "Production is not disposable."
  }
}

variable "flink_nodes" {
  description = "Nodes of the TaskManagers: an x86-64 type with local SSDs, and how many."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
}

variable "general_nodes" {
  description = "Nodes of everything else."
  type = object({
    instance_type = string
    min           = number
    max           = number
  })
}

variable "kafka_nodes" {
  description = "Nodes of the brokers, in each of three zones."
  type = object({
    instance_type = string
    per_zone      = number
  })
}

variable "postgres" {
  description = "Size of the database, and how far back it can be put."
  type = object({
    instance_class = string
    storage_gib    = number
    backup_days    = number
  })
}

variable "repository" {
  description = "Repository on GitHub that deploys, as owner/name."
  type        = string
}

variable "monthly_budget_usd" {
  description = "Money a month at whose forecast somebody is told, in US dollars."
  type        = number
}

variable "contact" {
  description = "Mail address of the team."
  type        = string
}
