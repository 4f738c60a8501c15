# The bucket of checkpoints, savepoints and models, the key that encrypts all stored data, and the permissions for both.

data "aws_caller_identity" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  bucket  = "${var.name}-state-${local.account}"
}

data "aws_iam_policy_document" "key" {
  # checkov:skip=CKV_AWS_109:a key policy applies to that key only
  # checkov:skip=CKV_AWS_111:same
  # checkov:skip=CKV_AWS_356:same
  # Without this statement no one could manage the key: it gives that right to the account's administrators.
  statement {
    sid       = "Administration"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${local.account}:root"]
    }
  }
  statement {
    sid       = "Logs"
    actions   = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:aws:logs:${var.region}:${local.account}:log-group:/streamflow/${var.name}/*",
        "arn:aws:logs:${var.region}:${local.account}:log-group:/aws/eks/${var.name}/*",
      ]
    }
  }
}

resource "aws_kms_key" "this" {
  description             = "${var.name}: state, volumes, database, logs"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_s3_bucket" "state" {
  # checkov:skip=CKV_AWS_18:only three roles use the bucket, and CloudTrail records their calls
  # checkov:skip=CKV2_AWS_62:nothing consumes events about checkpoint files
  # checkov:skip=CKV_AWS_144:StreamFlow runs in one region (docs/disaster-recovery.md)
  bucket        = local.bucket
  force_destroy = var.is_disposable
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
    # One data key serves many objects, because a checkpoint writes hundreds.
    bucket_key_enabled = true
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# Flink deletes old checkpoints. Their versions are kept for some days in case a deletion was a mistake.
resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id
  rule {
    id     = "deleted"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = var.keep_deleted_days
    }
    # A lake job that stopped without a savepoint completes its uploads when it resumes. Kafka keeps decisions for 30 days.
    abort_incomplete_multipart_upload {
      days_after_initiation = 30
    }
  }
  depends_on = [aws_s3_bucket_versioning.state]
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "OnlyEncrypted"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "state" {
  bucket     = aws_s3_bucket.state.id
  policy     = data.aws_iam_policy_document.bucket.json
  depends_on = [aws_s3_bucket_public_access_block.state]
}
