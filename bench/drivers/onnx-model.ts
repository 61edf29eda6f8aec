import type { Workload } from '../workload.js';

// Protocol buffers, as far as an ONNX model of one Conv node needs them. A message is a sequence of
// (field number, wire type) keys and values; wire type 0 is a varint, 2 is a length and bytes.
// Field numbers are those of onnx.proto.

type Bytes = readonly Uint8Array[];

const FLOAT = 1;
const INT = 2;
const INTS = 7;
const IR_VERSION = 8;
const OPSET = 17;

/** Conv from `x` to `y`, weights and bias inside, every extent fixed. */
export function onnxModel({ layer, input, filter, bias, outputShape }: Workload): Uint8Array {
  const { KH, KW, stride, dilation, groups } = layer;
  const { top, left, bottom, right } = layer.padding;
  const node = message(
    text(1, 'x'),
    text(1, 'w'),
    text(1, 'b'),
    text(2, 'y'),
    text(4, 'Conv'),
    bytes(5, intsAttribute('kernel_shape', [KH, KW])),
    bytes(5, intsAttribute('strides', [stride, stride])),
    bytes(5, intsAttribute('dilations', [dilation, dilation])),
    bytes(5, intsAttribute('pads', [top, left, bottom, right])),
    bytes(5, message(text(1, 'group'), varint(3, groups), varint(20, INT))),
  );
  const graph = message(
    bytes(1, node),
    text(2, 'conv'),
    bytes(5, tensor('w', filter.shape, filter.data)),
    bytes(5, tensor('b', [bias.length], bias)),
    bytes(11, valueInfo('x', input.shape)),
    bytes(12, valueInfo('y', outputShape)),
  );
  const opset = message(text(1, ''), varint(2, OPSET));
  return Buffer.concat(message(varint(1, IR_VERSION), bytes(7, graph), bytes(8, opset)));
}

function intsAttribute(name: string, values: readonly number[]): Bytes {
  return message(text(1, name), ...values.map((value) => varint(8, value)), varint(20, INTS));
}

/** TensorProto with raw data, which is little-endian. */
function tensor(name: string, shape: readonly number[], data: Float32Array): Bytes {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const dims = shape.map((size) => varint(1, size));
  return message(...dims, varint(2, FLOAT), text(8, name), bytes(9, [raw]));
}

function valueInfo(name: string, shape: readonly number[]): Bytes {
  const dims = shape.map((size) => bytes(1, varint(1, size)));
  const tensorType = message(varint(1, FLOAT), bytes(2, message(...dims)));
  return message(text(1, name), bytes(2, bytes(1, tensorType)));
}

function message(...fields: readonly Bytes[]): Bytes {
  return fields.flat();
}

function varint(field: number, value: number): Bytes {
  return [Uint8Array.from([...varintBytes(field << 3), ...varintBytes(value)])];
}

function text(field: number, value: string): Bytes {
  return bytes(field, [new TextEncoder().encode(value)]);
}

function bytes(field: number, content: Bytes): Bytes {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  const key = Uint8Array.from([...varintBytes((field << 3) | 2), ...varintBytes(length)]);
  return [key, ...content];
}

/** Seven bits a byte, lowest first, the top bit set on all but the last. */
function varintBytes(value: number): number[] {
  const encoded: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) encoded.push((rest % 128) | 128);
  encoded.push(rest);
  return encoded;
}
