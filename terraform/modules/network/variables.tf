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

variable "cidr" {
  description = "CIDR block of the network: a /16, which is divided into the subnets."
  type        = string
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "The network must be a /16 in CIDR notation, such as 10.30.0.0/16."
  }
}

variable "nat_gateways" {
  description = "Number of NAT gateways: 1 is cheaper, 3 survive the loss of a zone."
  type        = number
  validation {
    condition     = var.nat_gateways >= 1 && var.nat_gateways <= 3
    error_message = "There must be 1 to 3 NAT gateways."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the log of rejected traffic."
  type        = string
}
