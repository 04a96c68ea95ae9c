import { serveWeb } from '../../support/served.ts';
import { describeConformance, PATIENT } from './suite.ts';

const served = serveWeb({ args: PATIENT });

describeConformance({ served, over: '', server: () => ({ port: served.daemon.port, form: 'kubelet' }) });
