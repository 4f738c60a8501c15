variable "name" {
  description = "Name prefix of all resources, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must have 3 to 31 lower-case letters, digits or hyphens and start with a letter."
  }
}

variable "environment" {
  description = "GitHub environment whose workflow runs may deploy: dev, staging or prod."
  type        = string
  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "The environment must be dev, staging or prod."
  }
}

variable "repository" {
  description = "GitHub repository that deploys, as owner/name."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "The repository must be owner/name; a wildcard would let other repositories deploy."
  }
}

variable "cluster_arn" {
  description = "ARN of the Kubernetes cluster that the workflow reads."
  type        = string
}

variable "cluster_name" {
  description = "Name of the same cluster."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts images and alarms."
  type        = string
}

variable "images_kept" {
  description = "Number of images to keep in each repository."
  type        = number
  default     = 30
  validation {
    condition     = var.images_kept >= 5
    error_message = "Keep at least five images: a rollback needs earlier ones."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars; AWS mails the contact when the forecast exceeds it."
  type        = number
  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "The budget must be above 0."
  }
}

variable "contact" {
  description = "Mail address of the team that receives budget and disk alarms."
  type        = string
  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.contact))
    error_message = "The contact must be a mail address."
  }
}
