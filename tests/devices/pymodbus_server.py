"""A Modbus TCP server of pymodbus with the values that it is told, for the gateway's tests.

Reads lines `unit table address type order value` from standard input up to a line `end`, puts each
value into its table with pymodbus's own conversion (and Python's `struct` where that has none),
listens on a free port of loopback, prints `listening PORT`, and serves until it is ended.
Registers that no value stands in hold 0xA5A5, so that a value read from a wrong place is seen.
"""

import asyncio
import struct
import sys

from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

SIZE = 512
FILLER = 0xA5A5
TABLES = ("coils", "discrete_inputs", "holding_registers", "input_registers")

Kind = ModbusTcpClient.DATATYPE
KINDS = {
    "u16": Kind.UINT16, "i16": Kind.INT16,
    "u32": Kind.UINT32, "i32": Kind.INT32, "f32": Kind.FLOAT32,
    "u64": Kind.UINT64, "i64": Kind.INT64, "f64": Kind.FLOAT64,
}


def registers(kind: str, order: str, value: str) -> list[int]:
    """The registers of one value, highest register first unless the order says otherwise."""
    low = order in ("CDAB", "DCBA")
    if kind.startswith("f"):
        number = float(value)
    else:
        number = int(float(value)) if "." in value or "e" in value else int(value)
    if kind in KINDS:
        words = ModbusTcpClient.convert_to_registers(
            number, KINDS[kind], word_order="little" if low else "big"
        )
    elif kind == "f16":
        words = list(struct.unpack(">H", struct.pack(">e", number)))
    elif kind in ("u8", "i8"):
        # The high byte is none of the reader's business.
        words = [0x5A00 | (number & 0xFF)]
    elif kind.startswith("bit"):
        place = int(kind[3:])
        words = [(0xFFFF ^ (1 << place)) | (number << place)]
    else:
        raise ValueError(f"type {kind}")
    if order in ("BADC", "DCBA"):
        words = [((word & 0xFF) << 8) | (word >> 8) for word in words]
    return words


def devices(lines) -> list[SimDevice]:
    units: dict[int, dict[str, list]] = {}
    for line in lines:
        if line.strip() == "end":
            break
        unit, table, address, kind, order, value = line.split()
        tables = units.setdefault(int(unit), {
            name: [name == "discrete_inputs"] * SIZE if name in TABLES[:2] else [FILLER] * SIZE
            for name in TABLES
        })
        if table in TABLES[:2]:
            tables[table][int(address)] = value == "1"
        else:
            words = registers(kind, order, value)
            tables[table][int(address):int(address) + len(words)] = words
    return [
        SimDevice(unit, simdata=tuple(
            [SimData(0, values=tables[name],
                     datatype=DataType.BITS if name in TABLES[:2] else DataType.REGISTERS)]
            for name in TABLES
        ))
        for unit, tables in units.items()
    ]


async def main() -> None:
    server = ModbusTcpServer(devices(sys.stdin), address=("127.0.0.1", 0))
    await server.listen()
    port = server.transport.sockets[0].getsockname()[1]
    print(f"listening {port}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
