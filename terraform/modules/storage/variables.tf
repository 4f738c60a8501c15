variable "name" {
  description = "Name prefix of all resources, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must have 3 to 31 lower-case letters, digits or hyphens and start with a letter."
  }
}

variable "region" {
  description = "AWS region, such as eu-central-1."
  type        = string
}

variable "is_disposable" {
  description = "Whether `terraform destroy` may delete the bucket and its content."
  type        = bool
}

variable "keep_deleted_days" {
  description = "Days for which a deleted object can be restored."
  type        = number
  default     = 14
  validation {
    condition     = var.keep_deleted_days >= 1 && var.keep_deleted_days <= 365
    error_message = "Deleted objects must be kept for 1 to 365 days."
  }
}
