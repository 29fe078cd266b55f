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
            block.temporal = ungrouped(block.temporal)
        self.blocks = nn.ModuleList(blocks)
        _, depthwise, pointwise, norm, _, classifier = network.head
        self.depthwise = convolution_1d(depthwise.weight.squeeze(1), groups=depthwise.groups)
        hidden = fuse_conv_bn_eval(pointwise, norm)
        self.hidden = convolution_1d(hidden.weight.squeeze(-1), hidden.bias)
        self.classifier = convolution_1d(classifier.weight.squeeze(-1), classifier.bias)
        self.mean_frames = network.mean_frames

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
        log_mel = self.frontend.log_mel(self._frames(sound)).squeeze(1)  # (B, M, n)
        inputs = [log_mel]
        extended = self._extend(past_layers[0], log_mel, self.stem_history)
        rows = functional.relu(self.stem(extended.unsqueeze(1))).flatten(1, 2)
        for block, past, n_frames in zip(self.blocks, past_layers[1:-1], self.block_histories):
            rows = block.expanded(rows)
            pooled = block.pool(rows)
            inputs.append(pooled)
            rows = block.combined(rows, self._extend(past, pooled, n_frames))
        inputs.append(rows)
        hidden = self.depthwise(self._extend(past_layers[-1], rows, self.head_history))
        frame_logits = self.classifier(functional.relu(self.hidden(hidden)))  # (B, K, n)

        all_logits = torch.cat(
            [past_logits.reshape(batch, -1, self.past_logits), frame_logits], dim=2
        )
        unused = self.past_logits - self.mean_frames + 1
        averaged = all_logits[:, :, unused:] if unused else all_logits
        logits = functional.avg_pool1d(averaged, self.mean_frames, stride=1).transpose(1, 2)
        of_layers = state[:, self.rows[0] : -self.rows[-1]]
        layers = torch.cat([of_layers, torch.cat(inputs, dim=1)], dim=2)
        next_state = torch.cat(
            [
                sound[:, -self.past_samples :].reshape(batch, -1, self.kept),
                layers[:, :, -self.kept :],
                all_logits[:, :, -self.past_logits :].reshape(batch, -1, self.kept),
            ],
            dim=1,
        )
        return logits.softmax(dim=2), logits, next_state

    def _frames(self, sound: Tensor) -> Tensor:
        """Frames (B, window, n) of whole hops: slices with a step, of a length not known yet, cannot be exported."""
        hop, window = self.frontend.hop_samples, self.frontend.window_samples
        past = self.past_samples // hop
        hops = sound.reshape(sound.shape[0], -1, hop)
        columns = torch.cat([hops[:, i : i - past or None] for i in range(past + 1)], dim=2)
        return columns[..., self.past_samples + hop - window :].transpose(1, 2)

    def _extend(self, past: Tensor, rows: Tensor, n_frames: int) -> Tensor:
        return torch.cat([past[:, :, self.kept - n_frames :], rows], dim=2)


def ungrouped(depthwise: nn.Conv1d) -> nn.Conv1d:
    """The same convolution over all channels: for few frames ONNX Runtime is faster with one larger product."""
    channels, _, kernel = depthwise.weight.shape
    weight = torch.zeros(channels, channels, kernel)
    weight[range(channels), range(channels)] = depthwise.weight.squeeze(1)
    return convolution_1d(weight, depthwise.bias, dilation=depthwise.dilation[0])


def rounded_up(count: int, multiple: int) -> int:
    """To a multiple, one at least."""
    return max(ceil(count / multiple), 1) * multiple
