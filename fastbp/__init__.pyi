from fastbp import reference as reference
from fastbp._config import get_include as get_include
from fastbp._config import get_num_threads as get_num_threads
from fastbp._config import set_num_threads as set_num_threads
from fastbp._config import show_config as show_config
from fastbp._equations import activate as activate
from fastbp._equations import delta_step as delta_step
from fastbp._equations import sigmoid as sigmoid
from fastbp._equations import sigmoid_backward as sigmoid_backward
from fastbp._equations import weight_grad as weight_grad
from fastbp._kernels.dispatch import available_isas as available_isas
from fastbp._kernels.dispatch import get_isa as get_isa
from fastbp._layers import Layers as Layers
from fastbp._layers import backprop as backprop
from fastbp._logit_losses import bce_with_logits as bce_with_logits
from fastbp._logit_losses import poisson_with_logits as poisson_with_logits
from fastbp._logit_losses import softmax_with_logits as softmax_with_logits
from fastbp._logit_losses import squared_error as squared_error
from fastbp._many import train_many as train_many
from fastbp._mlp import MLP as MLP
from fastbp._optim import SGD as SGD
from fastbp._optim import Adam as Adam
from fastbp._optim import clip_grad_norm as clip_grad_norm
from fastbp._population import Population as Population
from fastbp._random import poisson_order as poisson_order

__version__: str
