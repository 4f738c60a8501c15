variable "name" {
  description = "Name of everything here, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must be 3 to 31 small letters, digits and hyphens, and begin with a letter."
  }
}

variable "environment" {
  description = "Name of the environment on GitHub whose runs may deploy: dev, staging or prod."
  type        = string
  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "The environment is dev, staging or prod."
  }
}

variable "repository" {
  description = "Repository on GitHub that deploys, as owner/name."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "Name the repository as owner/name; a wildcard would let others in."
  }
}

variable "cluster_arn" {
  description = "Kubernetes cluster that the workflow looks at."
  type        = string
}

variable "cluster_name" {
  description = "Name of that cluster."
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts images and alarms."
  type        = string
}

variable "images_kept" {
  description = "Images of each kind that are kept."
  type        = number
  default     = 30
  validation {
    condition     = var.images_kept >= 5
    error_message = "Keep at least five: a rollback needs the one before."
  }
}

variable "monthly_budget_usd" {
  description = "Money a month at whose forecast somebody is told, in US dollars."
  type        = number
  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "The budget must be above 0."
  }
}

variable "contact" {
  description = "Mail address of the team that is told of money and disks."
  type        = string
  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.contact))
    error_message = "The contact must be a mail address."
  }
}
