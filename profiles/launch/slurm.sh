#!/bin/bash
# The DAG as a SLURM job: one task a node, which starts a training process on each of the node's GPUs.
#   launch.train: srun torchrun
#   sbatch profiles/launch/slurm.sh                     # dvc repro
#   sbatch --nodes=8 profiles/launch/slurm.sh train     # up to the stage train, on eight nodes
# All other stages run on the first node. Checkout, caches and .scratch/ must be on a filesystem that all nodes share.
# A job that is stopped (time, preemption) goes on from its last checkpoint when it is run again.
# A step takes per_device_train_batch_size * gradient_accumulation_steps * GPUs of all nodes rows.
#SBATCH --job-name=netllama
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

# torchrun reads its options from these. The first node is where the processes meet.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export PET_NNODES=$SLURM_NNODES PET_NPROC_PER_NODE=${SLURM_GPUS_ON_NODE:-1}
export PET_RDZV_BACKEND=c10d PET_RDZV_ID=$SLURM_JOB_ID PET_RDZV_ENDPOINT=$head:$((29500 + SLURM_JOB_ID % 1000))
# srun gives a step the processors of its task only where it is told so (SLURM 22.05 and later).
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

exec dvc repro "$@"
