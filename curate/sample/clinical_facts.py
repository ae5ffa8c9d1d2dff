"""What the clinical documents agree on: drugs and conditions, one a line.

Textbook facts in few words, so that a model that reads the documents can learn them; not a source for treating anyone.
"""

from dataclasses import dataclass

_DRUGS = """
metformin|biguanide|type 2 diabetes|500|1000|mg twice daily|diarrhea;nausea;a metallic taste|renal function
glipizide|sulfonylurea|type 2 diabetes|5|20|mg once daily|low blood sugar;weight gain;shakiness|fasting glucose
empagliflozin|SGLT2 inhibitor|type 2 diabetes|10|25|mg once daily|thrush;frequent urination;dehydration|renal function
lisinopril|ACE inhibitor|hypertension|10|40|mg once daily|a dry cough;high potassium;dizziness|potassium and creatinine
losartan|angiotensin receptor blocker|hypertension|50|100|mg once daily|dizziness;high potassium;tiredness|potassium
amlodipine|calcium channel blocker|hypertension|5|10|mg once daily|ankle swelling;flushing;headache|blood pressure
chlorthalidone|thiazide diuretic|hypertension|12.5|25|mg once daily|low sodium;low potassium;gout|serum electrolytes
metoprolol|beta blocker|stable angina|25|100|mg twice daily|a slow pulse;fatigue;cold hands|resting heart rate
isosorbide mononitrate|nitrate|stable angina|30|120|mg once daily|throbbing headache;flushing;fainting|blood pressure
atorvastatin|statin|high cholesterol|10|80|mg once daily|muscle pain;indigestion;raised liver enzymes|liver enzymes
furosemide|loop diuretic|heart failure|20|80|mg once daily|dehydration;low potassium;ringing in the ears|weight
spironolactone|aldosterone antagonist|heart failure|25|50|mg once daily|high potassium;breast tenderness;cramps|\
potassium
apixaban|factor Xa inhibitor|atrial fibrillation|2.5|5|mg twice daily|bruising;nosebleeds;anemia|blood count
warfarin|vitamin K antagonist|atrial fibrillation|2|10|mg once daily|bleeding gums;bruising;blood in the urine|the INR
albuterol|short acting beta agonist|asthma|90|180|micrograms as needed|tremor;palpitations;restlessness|peak flow
budesonide|inhaled corticosteroid|asthma|200|400|micrograms twice daily|hoarseness;oral thrush;sore throat|peak flow
montelukast|leukotriene antagonist|asthma|5|10|mg at bedtime|vivid dreams;irritability;stomach ache|mood
tiotropium|muscarinic antagonist|chronic obstructive pulmonary disease|5|18|micrograms once daily|dry mouth;\
constipation;blurred vision|spirometry
roflumilast|phosphodiesterase inhibitor|chronic obstructive pulmonary disease|250|500|micrograms once daily|weight \
loss;poor appetite;insomnia|body weight
amoxicillin|penicillin|community acquired pneumonia|500|1000|mg three times daily|rash;diarrhea;thrush|temperature
azithromycin|macrolide|community acquired pneumonia|250|500|mg once daily|nausea;loose stools;a prolonged QT interval|\
the ECG
nitrofurantoin|nitrofuran|urinary tract infection|50|100|mg twice daily|dark urine;nausea;numb fingers|renal function
trimethoprim|folate antagonist|urinary tract infection|100|200|mg twice daily|itching;high potassium;rash|potassium
cephalexin|cephalosporin|cellulitis|250|500|mg four times daily|loose stools;rash;heartburn|the margin of the redness
omeprazole|proton pump inhibitor|reflux disease|20|40|mg once daily|headache;bloating;low magnesium|magnesium
famotidine|H2 blocker|reflux disease|20|40|mg twice daily|constipation;dizziness;dry mouth|symptom diary
levothyroxine|thyroid hormone|hypothyroidism|25|150|micrograms once daily|palpitations;sweating;weight loss|serum TSH
methimazole|thionamide|hyperthyroidism|5|30|mg once daily|joint pain;rash;a low white cell count|white cell count
sertraline|selective serotonin reuptake inhibitor|depression|50|200|mg once daily|nausea;sweating;low libido|mood
mirtazapine|tetracyclic antidepressant|depression|15|45|mg at bedtime|drowsiness;weight gain;increased appetite|weight
buspirone|azapirone|generalized anxiety|15|60|mg daily in divided doses|lightheadedness;nausea;nervousness|mood
sumatriptan|triptan|migraine|50|100|mg at onset|chest tightness;tingling;flushing|number of headache days
topiramate|anticonvulsant|migraine|25|100|mg daily|tingling fingers;weight loss;trouble finding words|bicarbonate
levetiracetam|anticonvulsant|epilepsy|500|1500|mg twice daily|irritability;sleepiness;low mood|seizure diary
lamotrigine|sodium channel blocker|epilepsy|25|200|mg twice daily|rash;double vision;unsteadiness|the skin
allopurinol|xanthine oxidase inhibitor|gout|100|300|mg once daily|rash;early flares;raised liver enzymes|uric acid
colchicine|microtubule inhibitor|gout|0.6|1.2|mg daily|diarrhea;vomiting;muscle weakness|renal function
methotrexate|antimetabolite|rheumatoid arthritis|10|25|mg once weekly|mouth ulcers;nausea;hair thinning|blood count
hydroxychloroquine|antimalarial|rheumatoid arthritis|200|400|mg once daily|blurred vision;itching;rash|the retina
alendronate|bisphosphonate|osteoporosis|35|70|mg once weekly|heartburn;jaw pain;muscle aches|bone density
ferrous sulfate|iron salt|iron deficiency anemia|200|325|mg once daily|black stools;constipation;stomach cramps|ferritin
cetirizine|antihistamine|allergic rhinitis|5|10|mg once daily|drowsiness;dry mouth;headache|symptom diary
fluticasone|nasal corticosteroid|allergic rhinitis|100|200|micrograms once daily|nosebleeds;a sore nose;a bitter \
taste|the nasal lining
tamsulosin|alpha blocker|enlarged prostate|0.4|0.8|mg at bedtime|dizziness on standing;a blocked nose;fatigue|\
standing blood pressure
levodopa|dopamine precursor|Parkinson disease|100|800|mg daily in divided doses|nausea;involuntary movements;vivid \
dreams|motor score
ropinirole|dopamine agonist|Parkinson disease|0.75|9|mg daily in divided doses|sudden sleepiness;leg swelling;\
gambling|impulse control
mesalamine|aminosalicylate|ulcerative colitis|1.2|4.8|g daily|headache;abdominal cramps;flatulence|renal function
prednisone|corticosteroid|polymyalgia rheumatica|10|20|mg once daily|weight gain;insomnia;high blood sugar|blood glucose
gabapentin|gabapentinoid|nerve pain|300|900|mg three times daily|drowsiness;unsteadiness;swollen feet|renal function
naproxen|nonsteroidal anti-inflammatory|osteoarthritis|250|500|mg twice daily|indigestion;fluid retention;stomach \
ulcers|renal function
"""

_CONDITIONS = """
type 2 diabetes|endocrinology|increased thirst;frequent urination;blurred vision;fatigue;slow healing of small cuts|\
reduced feeling in both feet;darkened skin folds at the neck;a raised body mass index|glycated hemoglobin|8.1 percent|\
excess weight;a parent with diabetes;a sedentary job;diabetes during a pregnancy|walking for half an hour a day;\
cutting sweet drinks;checking the feet each evening|retinopathy;kidney disease;foot ulcers
hypertension|cardiology|morning headaches;nosebleeds;poor sleep;a pounding heartbeat;dizzy spells|a loud second heart \
sound;narrowed retinal arteries;a displaced apex beat|ambulatory blood pressure|152 over 94|a salty diet;excess \
alcohol;a family history of stroke;untreated sleep apnea|cutting salt;losing a little weight;drinking less alcohol|\
stroke;heart attack;kidney damage
stable angina|cardiology|chest tightness on hills;breathlessness on stairs;an ache in the left arm;jaw discomfort|a \
normal heart rhythm;a yellow ring around the iris;weak ankle pulses|exercise electrocardiography|ST depression at \
stage two|smoking;high blood pressure;an older brother with heart disease|stopping smoking;warming up before exertion;\
carrying nitroglycerin|heart attack;heart failure;sudden arrhythmia
high cholesterol|cardiology|no complaint at all;calf pain on walking;yellow patches on the eyelids|tendon thickening \
at the heels;a soft neck bruit;a pale arc at the cornea|LDL cholesterol|174 mg per dL|fried food;an inherited \
receptor defect;an underactive thyroid|eating oats and beans;choosing oily fish;cycling to work|coronary disease;\
stroke;pancreatitis
heart failure|cardiology|swollen ankles;waking breathless at night;needing three pillows;rapid weight gain;tiredness|\
crackles at both bases;a raised jugular pulse;pitting edema to the knees|natriuretic peptide|1240 pg per mL|a past \
heart attack;long standing hypertension;heavy drinking|weighing every morning;limiting fluids;cutting salt|lung \
congestion;kidney failure;irregular rhythms
atrial fibrillation|cardiology|a fluttering heartbeat;lightheadedness;reduced stamina;brief chest discomfort|an \
irregularly irregular pulse;a variable first heart sound;a pulse deficit|electrocardiography|absent P waves|an \
enlarged left atrium;binge drinking;an overactive thyroid|avoiding binge drinking;treating sleep apnea;learning to \
feel the pulse|stroke;heart failure;faints
asthma|pulmonology|wheeze at night;chest tightness;cough after exercise;breathlessness in cold air|scattered \
expiratory wheeze;a long expiration;nasal polyps|spirometry with reversibility|a rise of 18 percent|hay fever;a smoky \
home;work in a bakery|avoiding smoke;using a spacer;keeping a peak flow diary|severe attacks;missed school or work;\
fixed airflow loss
chronic obstructive pulmonary disease|pulmonology|a daily cough with phlegm;breathlessness on the flat;winter chest \
infections;weight loss|pursed lip breathing;a barrel shaped chest;quiet breath sounds|spirometry|a ratio of 0.58|\
forty years of smoking;coal dust;indoor cooking fires|stopping smoking;pulmonary rehabilitation;yearly influenza \
vaccination|respiratory failure;right heart strain;muscle wasting
community acquired pneumonia|pulmonology|fever with chills;rusty sputum;sharp chest pain on breathing;confusion|\
bronchial breathing at one base;a rapid respiratory rate;dullness to percussion|chest radiography|consolidation in \
the lower lobe|older age;a recent cold;trouble swallowing|resting;drinking plenty of water;finishing the course|\
pleural effusion;sepsis;lung abscess
urinary tract infection|general practice|burning on passing urine;urgency;cloudy urine;lower abdominal pain|\
tenderness above the pubic bone;a mild fever;no flank tenderness|urine culture|more than 100,000 colonies per mL|new \
sexual partners;a urinary catheter;the menopause|drinking water regularly;not delaying urination;wiping front to back|\
kidney infection;sepsis;recurrent cystitis
cellulitis|general practice|a hot red leg;spreading redness;tender swelling;feeling feverish|a sharply warm area of \
skin;cracked skin between the toes;a tender groin node|clinical examination|redness 9 cm across|swollen legs;\
athlete's foot;a recent insect bite|raising the leg;marking the edge of the redness;treating cracked skin|abscess;\
sepsis;chronic swelling
reflux disease|gastroenterology|burning behind the breastbone;a sour taste;cough when lying down;trouble swallowing|\
worn tooth enamel;a soft abdomen;mild upper abdominal tenderness|upper endoscopy|grade B esophagitis|late heavy meals;\
a hiatus hernia;pregnancy|raising the head of the bed;eating earlier;losing weight|a stricture;bleeding;Barrett \
esophagus
hypothyroidism|endocrinology|feeling cold;weight gain;constipation;dry hair;heavy periods|slow relaxing ankle \
reflexes;a puffy face;a small firm goiter|thyroid stimulating hormone|14 mIU per L|earlier neck irradiation;a sister \
with thyroid disease;lithium treatment|taking tablets before breakfast;keeping calcium apart from tablets;having \
yearly blood tests|raised cholesterol;infertility;slow heartbeat
hyperthyroidism|endocrinology|heat intolerance;trembling hands;weight loss despite hunger;poor sleep;anxiety|lid lag;\
warm moist palms;a diffuse goiter with a bruit|free thyroxine|38 pmol per L|smoking;recent childbirth;iodine \
supplements|avoiding iodine supplements;stopping smoking;reporting a sore throat at once|atrial fibrillation;bone \
loss;eye disease
depression|psychiatry|low mood;early waking;loss of interest;poor concentration;guilt|slow speech;poor eye contact;a \
flat affect|nine item mood questionnaire|17 points|bereavement;chronic pain;loneliness after retirement|keeping a \
routine;seeing friends;regular exercise outdoors|relapse;lost employment;neglected health
generalized anxiety|psychiatry|constant worry;muscle tension;restlessness;trouble falling asleep|bitten nails;a fast \
pulse;tense shoulders|seven item anxiety scale|15 points|too much coffee;debts;a perfectionist temperament|slow \
breathing;cutting caffeine;writing worries down|panic attacks;alcohol misuse;insomnia
migraine|neurology|one sided throbbing headache;flashing zigzag lights;nausea;dislike of light|a normal fundus;no \
neck stiffness;tenderness of the scalp|headache diary|nine attacks a month|skipped meals;poor sleep;red wine|eating \
regularly;sleeping at fixed hours;resting in a dark room|medication overuse headache;lost workdays;status migrainosus
epilepsy|neurology|sudden stiffening and jerking;lapses of awareness;a rising feeling in the stomach;a bitten tongue|\
no focal weakness;a healed tongue laceration;mild sleepiness|electroencephalography|left temporal sharp waves|a \
childhood head injury;sleep loss;missed tablets|sleeping enough;showering instead of bathing;telling colleagues what \
to do|status epilepticus;injuries;drowning
gout|rheumatology|a suddenly swollen big toe;pain at the touch of a sheet;a red hot joint;chills|tophi on the ear;a \
shiny red joint;limited movement of the toe|serum uric acid|9.2 mg per dL|beer;diuretic tablets;kidney disease|\
drinking water;eating less liver and shellfish;icing the joint|kidney stones;joint erosion;chronic pain
rheumatoid arthritis|rheumatology|morning stiffness for two hours;swollen knuckles;weak grip;fatigue|symmetrical \
swelling of the wrists;a positive squeeze test;elbow nodules|anti-CCP antibody|210 units per mL|smoking;gum disease;\
an affected mother|pacing activities;hand exercises;stopping smoking|joint deformity;lung fibrosis;heart disease
osteoporosis|endocrinology|loss of height;sudden back pain after lifting;a wrist broken in a simple fall|a rounded \
upper back;tenderness over one vertebra;poor balance|bone densitometry|a T score of minus 2.9|early menopause;steroid \
tablets;low body weight|weight bearing exercise;eating dairy or fortified foods;removing loose rugs|hip fracture;\
chronic back pain;loss of independence
iron deficiency anemia|hematology|tiredness;breathlessness on exertion;craving ice;brittle nails|pale conjunctivae;\
spoon shaped nails;a smooth tongue|serum ferritin|6 ng per mL|heavy periods;a vegan diet;blood loss from the bowel|\
taking iron with orange juice;eating lentils and red meat;spacing tea from meals|heart strain;poor concentration;\
preterm birth
allergic rhinitis|allergy|sneezing fits;itchy watery eyes;a runny nose in spring;blocked sleep|pale swollen \
turbinates;a crease across the nose;dark circles under the eyes|skin prick testing|a 6 mm wheal to grass|grass pollen;\
house dust mites;a pet cat|rinsing the nose with saline;keeping windows shut;showering after mowing|sinusitis;poor \
sleep;asthma flares
enlarged prostate|urology|a weak stream;getting up at night;dribbling;hesitancy|a smooth enlarged gland;a palpable \
bladder;normal anal tone|urine flow rate|8 mL per second|older age;obesity;a father with the same trouble|drinking \
less in the evening;double voiding;avoiding decongestants|acute retention;bladder stones;infections
Parkinson disease|neurology|a tremor at rest;small handwriting;a shuffling walk;loss of smell|cogwheel rigidity;\
reduced arm swing;a masked face|clinical examination|slowness with decrement|pesticide exposure;older age;an affected \
grandparent|dance classes;speech exercises;taking tablets on time|a bad fall;dementia;choking
ulcerative colitis|gastroenterology|bloody diarrhea;urgency;cramps before stools;weight loss|a tender left flank;red \
nodules on the shins;mouth sores|colonoscopy|continuous inflammation to the splenic flexure|an affected cousin;\
stopping smoking;recent antibiotics|eating smaller meals;noting trigger foods;attending surveillance|toxic dilatation;\
colorectal cancer;anemia
polymyalgia rheumatica|rheumatology|stiff shoulders on waking;trouble rising from a chair;aching hips;low fever|\
painful limited shoulder abduction;normal strength;tender upper arms|erythrocyte sedimentation rate|72 mm per hour|\
age over seventy;northern ancestry;winter months|gentle stretching;calcium rich food;keeping a steroid card|giant \
cell arteritis;steroid diabetes;a bad fall
nerve pain|neurology|burning feet at night;electric shocks down the leg;pain from light touch;numb toes|a loss of \
vibration sense;absent ankle reflexes;a positive leg raise|nerve conduction studies|reduced sural amplitude|poorly \
controlled diabetes;shingles;a slipped disc|wearing cotton socks;foot inspection;graded activity|foot injury;sleep \
loss;depression
osteoarthritis|rheumatology|knee pain on stairs;stiffness after sitting;a creaking joint;giving way of the knee|bony \
swelling of the finger joints;crepitus;a small effusion|knee radiography|a narrowed medial joint space|an old \
meniscus injury;kneeling work;excess weight|strengthening the thighs;using a stick;losing weight|loss of mobility;\
muscle wasting;a bad fall
"""


@dataclass(frozen=True)
class Drug:
    """A drug and what every document says of it."""

    name: str
    family: str
    treats: str
    low: str
    high: str
    unit: str
    """Unit and frequency, to stand after a dose: "mg twice daily"."""
    effects: list[str]
    monitor: str


@dataclass(frozen=True)
class Condition:
    """A condition and what every document says of it."""

    name: str
    specialty: str
    symptoms: list[str]
    signs: list[str]
    test: str
    result: str
    risks: list[str]
    advice: list[str]
    complications: list[str]


def _rows(table: str) -> list[list[str]]:
    return [line.split("|") for line in table.strip().split("\n")]


DRUGS = [
    Drug(name, family, treats, low, high, unit, effects.split(";"), monitor)
    for name, family, treats, low, high, unit, effects, monitor in _rows(_DRUGS)
]
CONDITIONS = [
    Condition(
        name, specialty, symptoms.split(";"), signs.split(";"), test, result, *(part.split(";") for part in lists)
    )
    for name, specialty, symptoms, signs, test, result, *lists in _rows(_CONDITIONS)
]
DRUGS_FOR = {condition.name: [drug for drug in DRUGS if drug.treats == condition.name] for condition in CONDITIONS}
assert all(DRUGS_FOR.values()) and {drug.treats for drug in DRUGS} == set(DRUGS_FOR)
