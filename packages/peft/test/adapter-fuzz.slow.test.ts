import { fuzzAdapterFiles } from './adapter-fuzz.js';

// Behind those of every run.
fuzzAdapterFiles(200, 2000);
