import { preset } from '../../scripts/tsup-preset.js';

export default {
  ...preset,
  entry: {
    index: 'src/index.ts',
    browser: 'src/browser.ts',
    export: 'src/export/index.ts',
    io: 'src/io/index.ts',
    'natural-gradient': 'src/natural-gradient/index.ts',
    onnxruntime: 'src/onnxruntime.ts',
    optim: 'src/optim/index.ts',
    quantization: 'src/quantization/index.ts',
    testing: 'src/testing/index.ts',
    tfjs: 'src/tfjs.ts',
    'token-merging': 'src/token-merging/index.ts',
  },
};
