import pytest
import torch

from resdx.models.backbones.layers import SMALL, Convolution, weight_gradient

SHAPES = [(16, 24, 1, 1, 7), (16, 24, 1, 2, 7), (16, 24, 3, 1, 6), (16, 24, 3, 2, 13), (3, 8, 7, 2, 16)]


@pytest.mark.parametrize(("inputs", "outputs", "size", "stride", "side"), SHAPES)
def test_products_of_matrices_give_the_gradient_that_autograd_gives(inputs, outputs, size, stride, side):
    generator = torch.Generator().manual_seed(size + stride)
    x = torch.randn(3, inputs, side, side + 2, generator=generator, dtype=torch.float64)
    weight = torch.randn(outputs, inputs, size, size, generator=generator, dtype=torch.float64, requires_grad=True)
    answer = torch.conv2d(x, weight, stride=stride, padding=size // 2)
    gradient = torch.randn(answer.shape, generator=generator, dtype=torch.float64)
    answer.backward(gradient)
    torch.testing.assert_close(weight_gradient(x, gradient, size, stride, size // 2), weight.grad)


@pytest.mark.parametrize("side", [6, 40])  # on either side of SMALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_a_step_is_that_of_a_plain_convolution(side, dtype, bias):
    assert 6 * 6 <= SMALL < 40 * 40
    torch.manual_seed(0)
    ours = Convolution(8, 16, 3, padding=1, bias=bias).to(memory_format=torch.channels_last)
    theirs = torch.nn.Conv2d(8, 16, 3, padding=1, bias=bias).to(memory_format=torch.channels_last)
    theirs.load_state_dict(ours.state_dict())
    answers, gradients = [], []
    for layer in (ours, theirs):
        x = torch.randn(4, 8, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            answer = layer(x)
        answer.float().square().sum().backward()
        answers.append(answer)
        gradients.append((x.grad, layer.weight.grad, layer.bias.grad if bias else torch.zeros(1)))
    assert answers[0].dtype == answers[1].dtype == dtype
    close = {"rtol": 0.02, "atol": 0.5} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-3}
    rounded = (
        {"rtol": 0.02, "atol": 0.02} if bias and dtype == torch.bfloat16 else {"rtol": None, "atol": None}
    )  # added once more
    torch.testing.assert_close(answers[0], answers[1], **rounded)
    torch.testing.assert_close(gradients[0][0], gradients[1][0], **close)
    torch.testing.assert_close(gradients[0][1], gradients[1][1], **close)
    torch.testing.assert_close(gradients[0][2], gradients[1][2], **close)


def test_without_learning_it_is_the_plain_convolution():
    layer = Convolution(4, 4, 3, padding=1, bias=False)
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        assert torch.equal(layer(x), torch.nn.Conv2d.forward(layer, x))
    layer.weight.requires_grad_(False)
    assert layer(x.requires_grad_()).requires_grad  # the gradient still reaches the input
