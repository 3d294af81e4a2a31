"""JAX, compiled by XLA for the CPU."""

import jax
import jax.numpy as jnp
import optax

import cases
from cases import Attention, Model

EPS = 1e-5


def encoder(w: dict, x: jax.Array, s: Model) -> jax.Array:
    """`[batch, seq, channels]` to logits `[batch, n_classes]`, by the weights of a checkpoint."""

    def linear(name: str, x: jax.Array) -> jax.Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name: str, x: jax.Array) -> jax.Array:
        x = jax.nn.standardize(x, axis=-1, epsilon=EPS)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attention(name: str, x: jax.Array) -> jax.Array:
        qkv = linear(f"{name}.qkv", x).reshape(*x.shape[:2], 3, s.heads, s.d_model // s.heads)
        out = jax.nn.dot_product_attention(*(qkv[:, :, part] for part in range(3)))
        return linear(f"{name}.proj", out.reshape(x.shape))

    def mlp(name: str, x: jax.Array) -> jax.Array:
        return linear(f"{name}.fc2", jax.nn.gelu(linear(f"{name}.fc1", x), approximate=False))

    x = linear("patch_embed.proj", x) + w["pos_embed"]
    for block in (f"blocks.{i}" for i in range(s.layers)):
        x = x + attention(f"{block}.attn", norm(f"{block}.norm1", x))
        x = x + mlp(f"{block}.mlp", norm(f"{block}.norm2", x))
    return linear("head", norm("norm", x).mean(axis=1))


def prepare(case: dict):
    """`case` has `task`, `shape` and, for attention, `backward`."""
    match case["task"]:
        case "train":
            return train(Model(*case["shape"]))
        case "infer":
            return infer(Model(*case["shape"]))
        case "attention":
            return attention(Attention(*case["shape"]), case["backward"])
    raise ValueError(f"no task {case['task']!r}")


def train(s: Model):
    """Training steps on one fixed batch; the check is the losses of the first three."""
    optimizer = optax.adamw(1e-3, weight_decay=0.01)
    x, targets = map(jnp.asarray, cases.batch(s))
    params = {name: jnp.asarray(w) for name, w in cases.weights(s).items()}
    state = [params, optimizer.init(params)]

    def loss_of(params: dict, x: jax.Array, targets: jax.Array) -> jax.Array:
        logits = encoder(params, x, s)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    def update(params, moments, x, targets):
        loss, grad = jax.value_and_grad(loss_of)(params, x, targets)
        change, moments = optimizer.update(grad, moments, params)
        return optax.apply_updates(params, change), moments, loss

    compiled = jax.jit(update, donate_argnums=(0, 1))

    def step() -> jax.Array:
        *state[:], loss = jax.block_until_ready(compiled(*state, x, targets))
        return loss

    return step, [float(step()) for _ in range(3)]


def infer(s: Model):
    """A forward pass; the check is the logits."""
    params = {name: jnp.asarray(w) for name, w in cases.weights(s).items()}
    x = jnp.asarray(cases.batch(s)[0])
    compiled = jax.jit(lambda params, x: encoder(params, x, s))

    def step() -> jax.Array:
        return compiled(params, x).block_until_ready()

    return step, step().flatten().tolist()


def attention(s: Attention, backward: bool):
    """`jax.nn.dot_product_attention` of `[batch, seq, heads, head_dim]`, and its gradients."""
    q, k, v, d_out = map(jnp.asarray, cases.tokens(s))
    if not backward:
        forward = jax.jit(jax.nn.dot_product_attention)
        check = forward(q, k, v)[0, 0, 0].tolist()
        return lambda: forward(q, k, v).block_until_ready(), check

    @jax.jit
    def both(q, k, v, d_out):
        out, pull = jax.vjp(jax.nn.dot_product_attention, q, k, v)
        return out, pull(d_out)  # the output too, which must not be optimized away

    check = [value for grad in both(q, k, v, d_out)[1] for value in grad[0, 0, 0].tolist()]
    return lambda: jax.block_until_ready(both(q, k, v, d_out)), check
