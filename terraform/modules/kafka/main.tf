# Nodes for the Kafka brokers and the driver for encrypted volumes. Each zone has one node group, because a volume can only
# be attached in its own zone. k8s/base/kafka defines the brokers, which Strimzi runs.

resource "aws_launch_template" "this" {
  name                   = "${var.name}-kafka"
  update_default_version = true
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      encrypted   = true
      kms_key_id  = var.kms_key_arn
      volume_type = "gp3"
      volume_size = 50
    }
  }
}

resource "aws_eks_node_group" "this" {
  count           = length(var.subnet_ids)
  cluster_name    = var.cluster_name
  node_group_name = "kafka-${count.index}"
  node_role_arn   = var.node_role_arn
  subnet_ids      = [var.subnet_ids[count.index]]
  instance_types  = [var.instance_type]
  ami_type        = "AL2023_x86_64_STANDARD"
  labels          = { "streamflow.io/nodes" = "kafka" }
  taint {
    key    = "streamflow.io/nodes"
    value  = "kafka"
    effect = "NO_SCHEDULE"
  }
  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }
  scaling_config {
    min_size     = var.nodes_per_zone
    max_size     = var.nodes_per_zone + 1 # one more while a node is replaced
    desired_size = var.nodes_per_zone
  }
  update_config {
    max_unavailable = 1
  }
}

data "aws_iam_policy_document" "volumes_assume" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "volumes_key" {
  statement {
    actions   = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"]
    resources = [var.kms_key_arn]
  }
}

resource "aws_iam_role" "volumes" {
  name               = "${var.name}-volumes"
  assume_role_policy = data.aws_iam_policy_document.volumes_assume.json
}

resource "aws_iam_role_policy_attachment" "volumes" {
  role       = aws_iam_role.volumes.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
}

resource "aws_iam_role_policy" "volumes" {
  name   = "key"
  role   = aws_iam_role.volumes.id
  policy = data.aws_iam_policy_document.volumes_key.json
}

resource "aws_eks_addon" "identity" {
  cluster_name = var.cluster_name
  addon_name   = "eks-pod-identity-agent"
}

resource "aws_eks_addon" "volumes" {
  cluster_name = var.cluster_name
  addon_name   = "aws-ebs-csi-driver"
  pod_identity_association {
    role_arn        = aws_iam_role.volumes.arn
    service_account = "ebs-csi-controller-sa"
  }
  depends_on = [aws_eks_addon.identity]
}
