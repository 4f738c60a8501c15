variable "name" {
  description = "Name of everything here, such as streamflow-prod."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "The name must be 3 to 31 small letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "AWS region, such as eu-central-1."
  type        = string
}

variable "cidr" {
  description = "Addresses of the network; a /16, from which the subnets are cut."
  type        = string
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "The network must be a /16 in CIDR notation, such as 10.30.0.0/16."
  }
}

variable "nat_gateways" {
  description = "Ways out to the internet: 1 is cheaper, 3 survive the loss of a zone."
  type        = number
  validation {
    condition     = var.nat_gateways >= 1 && var.nat_gateways <= 3
    error_message = "There must be 1 to 3 NAT gateways."
  }
}

variable "kms_key_arn" {
  description = "Key that encrypts the log of rejected traffic."
  type        = string
}
