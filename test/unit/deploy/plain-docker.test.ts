import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { loadSettings } from '../../../src/config/load.ts';
import { parseDuration } from '../../../src/human-duration.ts';
import { CHECKOUT } from '../../support/checkout.ts';

const DEPLOY = join(CHECKOUT, 'deploy');
const unit = readFileSync(join(DEPLOY, 'execlet.service'), 'utf8');
const compose = z
  .object({
    services: z.object({
      execlet: z.looseObject({
        build: z.string(),
        command: z.array(z.string()),
        stop_grace_period: z.string(),
        volumes: z.array(z.string()),
      }),
    }),
  })
  .parse(parse(readFileSync(join(DEPLOY, 'compose.yaml'), 'utf8'))).services.execlet;
