# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

# An image of Debian 13 for Azure, with the packages of `make deb`:
#
#     make deb
#     az login
#     packer init packaging/images/packer
#     packer build -var resource_group=images packaging/images/packer

packer {
  required_plugins {
    azure = {
      source  = "github.com/hashicorp/azure"
      version = "~> 2"
    }
  }
}

variable "resource_group" {
  type        = string
  description = "where the image is stored; it exists already"
}

variable "location" {
  type    = string
  default = "westeurope"
}

source "azure-arm" "debian" {
  use_azure_cli_auth = true

  os_type         = "Linux"
  image_publisher = "Debian"
  image_offer     = "debian-13"
  image_sku       = "13-gen2"
  location        = var.location
  vm_size         = "Standard_B2s"

  managed_image_resource_group_name = var.resource_group
  managed_image_name                = "debian-13-hv-kvp"
}

build {
  sources = ["source.azure-arm.debian"]

  provisioner "shell" {
    inline = ["mkdir /tmp/packages"]
  }

  provisioner "file" {
    source      = "${path.root}/../../../build/deb/"
    destination = "/tmp/packages/"
  }

  provisioner "shell" {
    execute_command = "sudo sh {{ .Path }}"
    script          = "${path.root}/provision.sh"
  }
}
