variable "name" {
  description = "Name prefix of all resources, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must have 3 to 31 lower-case letters, digits or hyphens and start with a letter."
  }
}

variable "vpc_id" {
  description = "ID of the database's VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets without a route to the internet, in at least two zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "The database service needs subnets in at least two zones."
  }
}

variable "client_security_group_id" {
  description = "Security group that may connect: the one of the cluster's pods."
  type        = string
}

variable "instance_class" {
  description = "Instance class, such as db.m6i.large."
  type        = string
  validation {
    condition     = startswith(var.instance_class, "db.")
    error_message = "The instance class must start with `db.`, such as db.m6i.large."
  }
}

variable "storage_gib" {
  description = "Initial storage in GiB; it grows automatically up to four times this size."
  type        = number
  validation {
    condition     = var.storage_gib >= 20
    error_message = "The storage must be at least 20 GiB."
  }
}

variable "is_replicated" {
  description = "Whether a standby in another zone takes over after a failure."
  type        = bool
}

variable "is_disposable" {
  description = "Whether `terraform destroy` may delete the database without a final snapshot."
  type        = bool
}

variable "backup_days" {
  description = "Days of backups: the database can be restored to any second of them."
  type        = number
  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "Backups must be kept for 1 to 35 days."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts storage, backups and the owner's password."
  type        = string
}
