import { fuzzAdapterFiles } from './fuzz-adapter-files.js';

// Behind those of every run.
fuzzAdapterFiles(200, 2000);
