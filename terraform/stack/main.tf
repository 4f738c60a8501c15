# One environment of StreamFlow, made of six modules. environments/*/main.tf hold the values that differ.

provider "aws" {
  region = var.region
  default_tags {
    tags = {
      application = "streamflow"
      environment = var.environment
    }
  }
}

data "aws_caller_identity" "current" {}

locals {
  name = "streamflow-${var.environment}"
}

module "storage" {
  source        = "../modules/storage"
  name          = local.name
  region        = var.region
  is_disposable = var.is_disposable
}

module "network" {
  source       = "../modules/network"
  name         = local.name
  region       = var.region
  cidr         = var.cidr
  nat_gateways = var.is_replicated ? 3 : 1
  kms_key_arn  = module.storage.kms_key_arn
}

module "cluster" {
  source             = "../modules/cluster"
  name               = local.name
  kubernetes_version = var.kubernetes_version
  subnet_ids         = module.network.private_subnet_ids
  kms_key_arn        = module.storage.kms_key_arn
  bucket_arn         = module.storage.bucket_arn
  secret_arns        = [module.postgres.owner_secret_arn, module.postgres.ca_secret_arn]
  flink_nodes        = var.flink_nodes
  general_nodes      = var.general_nodes
}

module "kafka" {
  source         = "../modules/kafka"
  name           = local.name
  cluster_name   = module.cluster.name
  node_role_arn  = module.cluster.node_role_arn
  subnet_ids     = module.network.private_subnet_ids
  instance_type  = var.kafka_nodes.instance_type
  nodes_per_zone = var.kafka_nodes.per_zone
  kms_key_arn    = module.storage.kms_key_arn
}

module "postgres" {
  source                   = "../modules/postgres"
  name                     = local.name
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.database_subnet_ids
  client_security_group_id = module.cluster.security_group_id
  instance_class           = var.postgres.instance_class
  storage_gib              = var.postgres.storage_gib
  is_replicated            = var.is_replicated
  is_disposable            = var.is_disposable
  backup_days              = var.postgres.backup_days
  kms_key_arn              = module.storage.kms_key_arn
}

module "observability" {
  source             = "../modules/observability"
  name               = local.name
  environment        = var.environment
  repository         = var.repository
  cluster_arn        = "arn:aws:eks:${var.region}:${data.aws_caller_identity.current.account_id}:cluster/${module.cluster.name}"
  cluster_name       = module.cluster.name
  kms_key_arn        = module.storage.kms_key_arn
  monthly_budget_usd = var.monthly_budget_usd
  contact            = var.contact
}
