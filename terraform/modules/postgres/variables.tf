variable "name" {
  description = "Name of everything here, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must be 3 to 31 small letters, digits and hyphens, and begin with a letter."
  }
}

variable "vpc_id" {
  description = "Network of the database."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets without a way out, in at least two zones."
  type        = list(string)
  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "The service wants subnets in at least two zones."
  }
}

variable "client_security_group_id" {
  description = "Group of those who may connect: the cluster's pods."
  type        = string
}

variable "instance_class" {
  description = "Size, such as db.m6i.large."
  type        = string
  validation {
    condition     = startswith(var.instance_class, "db.")
    error_message = "A class of a database begins with `db.`, such as db.m6i.large."
  }
}

variable "storage_gib" {
  description = "Storage at the start in GiB; it grows to four times as much."
  type        = number
  validation {
    condition     = var.storage_gib >= 20
    error_message = "There must be at least 20 GiB."
  }
}

variable "is_replicated" {
  description = "Whether a standby in another zone takes over."
  type        = bool
}

variable "is_disposable" {
  description = "Whether `terraform destroy` may delete it without a last snapshot."
  type        = bool
}

variable "backup_days" {
  description = "Days to which the database can be put back, to the second."
  type        = number
  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "Backups are kept for 1 to 35 days."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts storage, backups and the owner's password."
  type        = string
}
