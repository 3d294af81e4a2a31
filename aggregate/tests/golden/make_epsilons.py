"""Prints the epsilons that the tests of src/accountant.rs expect.

    python3 -m venv venv && venv/bin/pip install dp-accounting==0.6.0 mpmath==1.4.1
    venv/bin/python make_epsilons.py

The last two numbers of each line are the exact one, with Rényi divergences by adaptive quadrature
in 30 digits, and that of Google's accountant. The latter may lie above: of a fractional order it
adds every term of the series with a positive sign, where the true signs alternate, and it leaves
out orders whose series does not converge within 1000 terms, as it says.
"""

import math

from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from mpmath import expm1, linspace, log, mp, mpf, npdf, quad

mp.dps = 30
ORDERS = [1 + i / 10 for i in range(1, 100)] + list(range(12, 65)) + [128, 256, 512]
CASES = [
    (1.0, 0.7, 1, 1e-5),
    (1.0, 4.0, 100, 1e-6),
    (0.1, 0.7, 1, 1e-5),
    (0.1, 0.7, 1000, 1e-5),
    (0.1, 1.1, 100, 1e-6),
    (0.1, 4.0, 1000, 1e-5),
    (0.01, 0.7, 100, 1e-5),
    (0.01, 1.1, 1, 1e-6),
    (0.01, 1.1, 1000, 1e-5),
    (0.01, 2.0, 14062, 1e-6),
    (256 / 60000, 0.7, 1000, 1e-5),
    (256 / 60000, 1.1, 14062, 1e-5),
    (256 / 60000, 4.0, 14062, 1e-6),
]


def divergence(q, z, order):
    q, z, order = mpf(q), mpf(z), mpf(order)
    power = lambda x: (1 + q * expm1((2 * x - 1) / (2 * z * z))) ** order
    ends = linspace(-14 * z, order + 14 * z, 2 + int(order / z / 4 + 7))
    return log(quad(lambda x: power(x) * npdf(x, 0, z), ends)) / (order - 1)


def exact(q, z, n_rounds, delta, order):
    rdp = n_rounds * divergence(q, z, order)
    return rdp + log(1 - 1 / mpf(order)) - log(mpf(delta) * order) / (order - 1)


for case in CASES:
    q, z, n_rounds, delta = case
    accountant = RdpAccountant(ORDERS)
    accountant.compose(PoissonSampledDpEvent(q, GaussianDpEvent(z)), n_rounds)
    google = accountant.get_epsilon(delta)
    # As a function of the order, epsilon falls to its least value and then rises.
    best = (float(exact(*case, ORDERS[0])), ORDERS[0])
    for order in ORDERS[1:]:
        epsilon = float(exact(*case, order))
        if epsilon > best[0]:
            break
        best = (epsilon, order)
    rate = "256.0 / 60_000.0" if q == 256 / 60000 else q
    exponent = round(math.log10(delta))
    values = ", ".join(f"{x:.6f}"[:-3] + "_" + f"{x:.6f}"[-3:] for x in (best[0], google))
    print(f"({rate}, {z}, {n_rounds}, 1e{exponent}, {values}), // order {best[1]}")
