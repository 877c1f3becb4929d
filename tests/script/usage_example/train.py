import argparse
import os
import torch
from config import experiment_config as config
from dahps_core import DistributedAsynchronousRandomSearch as DARS
from dahps_core.torch_utils import sync_parameters


def training_process(args, rank, world_size):

    torch.manual_seed(0)
    model = torch.nn.Linear(args.crop_size, 1)
    if world_size > 1:
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)
    loss = model(torch.ones(args.batch_size, args.crop_size)).square().mean()
    loss.backward()
    optimizer.step()
    states, metric = {'model': model.state_dict(), 'world_size': world_size}, loss

    # return a metric that orders the performance of the models and the model state

    return states, metric


def create_parser():
    parser = argparse.ArgumentParser(description="Shearlet NN")

    parser.add_argument(
        "--epochs", type=int, default=20, help="training epochs (default: 10)"
    )
    parser.add_argument(
        "--path", type=str, default='./hp_test', help="path for the hyperparameter search data"
    )


    return parser


def main(args, rank, world_size):
    if world_size > 1:
        torch.distributed.init_process_group('gloo')

    if torch.cuda.is_available():
        device = rank % torch.cuda.device_count()
        print(f'rank {rank} running on device {device} (of {torch.cuda.device_count()})')
        torch.cuda.set_device(device)

    agent = DARS.from_config(args.path, config)

    agent = sync_parameters(rank, agent)

    args = agent.to_namespace(agent.combination)

    states, metric = training_process(args, rank, world_size)

    if rank == 0:
        print('saving checkpoint')
        agent.save_checkpoint(states)
        agent.finish_combination(metric)

    if world_size > 1:
        torch.distributed.destroy_process_group()

if __name__ == "__main__":
    parser = create_parser()
    args = parser.parse_args()

    # environment variables from torchrun
    world_size = int(os.environ["WORLD_SIZE"])
    rank = int(os.environ["RANK"])
    torch.multiprocessing.set_start_method("spawn")

    main(args, rank, world_size)
