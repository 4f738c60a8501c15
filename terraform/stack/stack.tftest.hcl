# Tests of the whole environment with a mocked AWS provider: what the modules request, and which inputs they reject.
mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c", "eu-central-1d"] }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  environment   = "staging"
  region        = "eu-central-1"
  cidr          = "10.20.0.0/16"
  is_replicated = true
  is_disposable = true
  flink_nodes = {
    instance_type = "c6id.xlarge"
    min           = 2
    max           = 4
  }
  general_nodes = {
    instance_type = "m6i.large"
    min           = 3
    max           = 4
  }
  kafka_nodes = {
    instance_type = "m6i.large"
    per_zone      = 1
  }
  postgres = {
    instance_class = "db.m6i.large"
    storage_gib    = 100
    backup_days    = 7
  }
  repository         = "streamflow/streamflow"
  monthly_budget_usd = 3000
  contact            = "data-platform@example.org"
}

# Terraform cannot mock lists that only the cloud fills, so the outputs of these two modules are overridden. The runs
# below plan both modules on their own.
run "everything" {
  override_module {
    target = module.cluster
    outputs = {
      name              = "streamflow-staging"
      security_group_id = "sg-1"
      node_role_arn     = "arn:aws:iam::123456789012:role/streamflow-staging-node"
      role_arns = {
        flink   = "arn:aws:iam::123456789012:role/streamflow-staging-flink"
        tools   = "arn:aws:iam::123456789012:role/streamflow-staging-tools"
        airflow = "arn:aws:iam::123456789012:role/streamflow-staging-airflow"
        secrets = "arn:aws:iam::123456789012:role/streamflow-staging-secrets"
      }
    }
  }
  override_module {
    target = module.postgres
    outputs = {
      host             = "streamflow-staging.example.eu-central-1.rds.amazonaws.com"
      owner_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds"
      ca_secret_name   = "streamflow-staging/postgres-ca"
      ca_secret_arn    = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ca"
    }
  }
  assert {
    condition     = strcontains(output.platform_env, "STATE_BUCKET=streamflow-staging-state-123456789012\n")
    error_message = "platform_env names another bucket."
  }
  assert {
    condition     = strcontains(output.platform_env, "POSTGRES_CIDR=10.20.96.0/20\n")
    error_message = "platform_env gives the network policy other addresses than those of the database."
  }
  assert {
    condition     = strcontains(output.platform_env, "POSTGRES_SECRET=arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds\n")
    error_message = "platform_env names another secret."
  }
  assert {
    condition     = toset(keys(output.repositories)) == toset(["job", "tools", "airflow"])
    error_message = "An image has no repository."
  }
  assert {
    condition     = toset(keys(output.github_variables)) == toset(["AWS_REGION", "DEPLOY_ROLE_ARN", "REGISTRY"])
    error_message = "The deploy workflow reads other variables."
  }
}

run "network" {
  command = plan
  module {
    source = "../modules/network"
  }
  variables {
    name         = "streamflow-test"
    nat_gateways = 1
    kms_key_arn  = "arn:aws:kms:eu-central-1:123456789012:key/k"
  }
  assert {
    condition     = [for subnet in aws_subnet.private : subnet.cidr_block] == ["10.20.0.0/19", "10.20.32.0/19", "10.20.64.0/19"]
    error_message = "The private subnets have other CIDR blocks."
  }
  assert {
    condition     = length(distinct([for subnet in aws_subnet.database : subnet.availability_zone])) == 3
    error_message = "Two database subnets are in the same zone."
  }
  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch != true])
    error_message = "A machine in a public subnet gets a public address automatically."
  }
}

run "no_small_network" {
  command = plan
  module {
    source = "../modules/network"
  }
  variables {
    name         = "streamflow-test"
    cidr         = "10.20.0.0/24"
    nat_gateways = 1
    kms_key_arn  = "k"
  }
  expect_failures = [var.cidr]
}

run "database" {
  command = plan
  module {
    source = "../modules/postgres"
  }
  variables {
    name                     = "streamflow-test"
    vpc_id                   = "vpc-1"
    subnet_ids               = ["a", "b", "c"]
    client_security_group_id = "sg-1"
    instance_class           = "db.m6i.large"
    storage_gib              = 100
    backup_days              = 7
    is_disposable            = false
    kms_key_arn              = "arn:aws:kms:eu-central-1:123456789012:key/k"
  }
  assert {
    condition     = aws_db_instance.this.storage_encrypted && aws_db_instance.this.deletion_protection && !aws_db_instance.this.publicly_accessible
    error_message = "The database is public, unencrypted or not protected from deletion."
  }
  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null
    error_message = "A password is stored in Terraform's state."
  }
}

run "no_database_without_backups" {
  command = plan
  module {
    source = "../modules/postgres"
  }
  variables {
    name                     = "streamflow-test"
    vpc_id                   = "vpc-1"
    subnet_ids               = ["a", "b"]
    client_security_group_id = "sg-1"
    instance_class           = "db.m6i.large"
    storage_gib              = 100
    backup_days              = 0
    kms_key_arn              = "k"
  }
  expect_failures = [var.backup_days]
}

run "no_disposable_production" {
  command = plan
  variables {
    environment = "prod"
  }
  expect_failures = [var.is_disposable]
}

run "cluster" {
  command = plan
  module {
    source = "../modules/cluster"
  }
  variables {
    name               = "streamflow-test"
    kubernetes_version = "1.34"
    subnet_ids         = ["a", "b", "c"]
    kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/k"
    bucket_arn         = "arn:aws:s3:::b"
    secret_arns        = ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:s"]
  }
  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "The Kubernetes API is reachable from the internet."
  }
  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == var.kms_key_arn
    error_message = "Kubernetes Secrets are not encrypted with the environment's key."
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.flink.user_data), "strategy: RAID0")
    error_message = "RocksDB would not use the local SSDs of the nodes."
  }
  assert {
    condition     = alltrue([for template in [aws_launch_template.flink, aws_launch_template.general] : template.metadata_options[0].http_tokens == "required"])
    error_message = "A pod could read the credentials of its node."
  }
}

run "no_arm_for_flink" {
  command = plan
  module {
    source = "../modules/cluster"
  }
  variables {
    name               = "streamflow-test"
    kubernetes_version = "1.34"
    subnet_ids         = ["a", "b", "c"]
    kms_key_arn        = "k"
    bucket_arn         = "arn:aws:s3:::b"
    secret_arns        = ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:s"]
    flink_nodes = {
      instance_type = "c7gd.xlarge"
      min           = 1
      max           = 2
    }
  }
  expect_failures = [var.flink_nodes]
}

run "no_wildcard_repository" {
  command = plan
  module {
    source = "../modules/observability"
  }
  variables {
    name         = "streamflow-test"
    repository   = "streamflow/*"
    cluster_arn  = "c"
    cluster_name = "c"
    kms_key_arn  = "k"
  }
  expect_failures = [var.repository]
}
