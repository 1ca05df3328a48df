import { fuzzAdapterFiles } from './fuzz-adapter-files.js';

fuzzAdapterFiles(0, 200);
