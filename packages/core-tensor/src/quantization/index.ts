export { BITSANDBYTES_SUFFIXES, type FileTensors, fromBitsandbytes, toBitsandbytes } from './bitsandbytes-files.js';
export { dequantizeNf4, type QuantizeNf4Options, quantizeNf4 } from './nf4.js';
export * from './quantized-weight.js';
