"""The graph of a spotter that listens to a stream: some sound and a state in, answers and the next state out.

Every layer keeps the same number of past frames, so that one concatenation and one slice make the next state of all
layers. A state of zeros is the zero padding before the first frame: the answers are those of the trained module for the
whole sound, however it is cut.

Legend: B batch, n frames of a call, C channels, M mel bins, K keywords, R rows of the state, H frames that it keeps, W
frames of the mean.
"""

from math import ceil, gcd, lcm

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from speech_commands_kws.models.spotter_module import SpotterModule
from speech_commands_kws.packaging.graph import convolution_1d, flat_blocks

# Of so many input channels at most are the groups that a convolution is given: for few frames ONNX Runtime is faster
# with few products and zeros in them than with many small ones.
GROUP_CHANNELS = 32


class StreamingGraph(nn.Module):
    """A trained streaming BC-ResNet in evaluation mode, its normalisations folded, with its past as an argument.

    Attributes:
        state_shape: (R, H) of one stream's state; zeros at its beginning.
        memory_frames: after so many frames nothing of a sound is left in the state.

    Shape:
        waveform (B, hop n), state (B, R, H) to probabilities (B, n, K), logits (B, n, K), next state (B, R, H).
    """

    @torch.no_grad()
    def __init__(self, spotter: SpotterModule):
        super().__init__()
        self.frontend, network = spotter.frontend, spotter.backbone
        _, convolution, norm, _ = network.stem
        stem = fuse_conv_bn_eval(convolution, norm)
        stem.padding = (stem.kernel_size[0] // 2, 0)
        self.stem = stem
        blocks = flat_blocks(network.blocks, stem, self.frontend.n_mels)
        for block in blocks:
            for name in ("frequency", "pool", "temporal"):
                setattr(block, name, regrouped(getattr(block, name)))
        self.blocks = nn.ModuleList(blocks)
        _, depthwise, pointwise, norm, _, classifier = network.head
        self.depthwise = regrouped(
            convolution_1d(depthwise.weight.squeeze(1), groups=depthwise.groups)
        )
        hidden = fuse_conv_bn_eval(pointwise, norm)
        self.hidden = convolution_1d(hidden.weight.squeeze(-1), hidden.bias)
        self.classifier = convolution_1d(classifier.weight.squeeze(-1), classifier.bias)
        self.mean_frames = network.mean_frames
        # With the floor of the logarithm as its bias.
        floor = torch.full((self.frontend.n_mels,), self.frontend.log_floor)
        self.mel = convolution_1d(self.frontend.mel_weights.unsqueeze(-1), floor)

        # Frames that each layer needs of its past, in the order of the rows of the state.
        self.stem_history = stem.kernel_size[1] - 1
        self.block_histories = [block.history_frames for block in network.blocks]
        self.head_history = depthwise.kernel_size[1] - 1
        histories = [self.stem_history, *self.block_histories, self.head_history]
        self.kept = max(histories)
        layer_rows = [self.frontend.n_mels, *(block.channels for block in blocks)]
        layer_rows.append(self.depthwise.in_channels)
        # Of sound and logits so many more than are needed that they fill whole rows.
        hop, n_keywords = self.frontend.hop_samples, classifier.out_channels
        self.past_samples = rounded_up(self.frontend.history_samples, lcm(hop, self.kept))
        self.past_logits = rounded_up(self.mean_frames - 1, self.kept // gcd(n_keywords, self.kept))
        waveform_rows = self.past_samples // self.kept
        logit_rows = n_keywords * self.past_logits // self.kept
        self.rows = [waveform_rows, *layer_rows, logit_rows]
        self.state_shape = (sum(self.rows), self.kept)
        self.memory_frames = self.past_samples // hop + sum(histories) + self.past_logits

    def forward(self, waveform: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        past_sound, *past_layers, past_logits = state.split(self.rows, dim=1)
        batch = waveform.shape[0]
        sound = torch.cat([past_sound.reshape(batch, self.past_samples), waveform], dim=1)
        log_mel = self.mel(self.frontend.power(self._windowed(sound))).log()  # (B, M, n)
        layers = [torch.cat([past_layers[0], log_mel], dim=2)]
        pictures = self._needed(layers[-1], self.stem_history).unsqueeze(1)
        rows = functional.relu(self.stem(pictures))  # pictures, until a block expands them
        for block, past, n_frames in zip(self.blocks, past_layers[1:-1], self.block_histories):
            rows = block.expanded(rows)
            layers.append(torch.cat([past, block.pool(rows)], dim=2))
            rows = block.combined(rows, self._needed(layers[-1], n_frames))
        layers.append(torch.cat([past_layers[-1], rows], dim=2))
        hidden = self.depthwise(self._needed(layers[-1], self.head_history))
        frame_logits = self.classifier(functional.relu(self.hidden(hidden)))  # (B, K, n)

        all_logits = torch.cat(
            [past_logits.reshape(batch, -1, self.past_logits), frame_logits], dim=2
        )
        unused = self.past_logits - self.mean_frames + 1
        averaged = all_logits[:, :, unused:] if unused else all_logits
        logits = functional.avg_pool1d(averaged, self.mean_frames, stride=1).transpose(1, 2)
        next_state = torch.cat(
            [
                sound[:, -self.past_samples :].reshape(batch, -1, self.kept),
                torch.cat(layers, dim=1)[:, :, -self.kept :],
                all_logits[:, :, -self.past_logits :].reshape(batch, -1, self.kept),
            ],
            dim=1,
        )
        return logits.softmax(dim=2), logits, next_state

    def _windowed(self, sound: Tensor) -> Tensor:
        """Windowed frames (B, window, n).

        They are cut of whole hops: slices with a step, of a length not known yet, cannot be exported.
        """
        hop, window = self.frontend.hop_samples, self.frontend.window_samples
        past = self.past_samples // hop
        hops = sound.reshape(sound.shape[0], -1, hop)
        columns = torch.cat([hops[:, i : i - past or None] for i in range(past + 1)], dim=2)
        frames = columns[..., self.past_samples + hop - window :]
        return (frames * self.frontend.window).transpose(1, 2)

    def _needed(self, layer: Tensor, n_frames: int) -> Tensor:
        """A layer's past and present (B, C, H + n) with so many past frames."""
        return layer[:, :, self.kept - n_frames :] if n_frames < self.kept else layer


def regrouped(convolution: nn.Conv1d) -> nn.Conv1d:
    """The same convolution, with zeros in its weights, in as few groups as `GROUP_CHANNELS` allows."""
    out_channels, width, kernel = convolution.weight.shape
    groups, in_channels = convolution.groups, convolution.in_channels
    fewer = next(
        count
        for count in range(1, groups + 1)
        if groups % count == 0 and (in_channels <= GROUP_CHANNELS * count or count == groups)
    )
    joined = groups // fewer
    weight = torch.zeros(fewer, joined, out_channels // groups, joined, width, kernel)
    own = convolution.weight.unflatten(0, (fewer, joined, -1))
    for i in range(joined):
        weight[:, i, :, i] = own[:, i]
    weight = weight.flatten(3, 4).flatten(0, 2)
    dilation = convolution.dilation[0]
    return convolution_1d(weight, convolution.bias, groups=fewer, dilation=dilation)


def rounded_up(count: int, multiple: int) -> int:
    """To a multiple, one at least."""
    return max(ceil(count / multiple), 1) * multiple
